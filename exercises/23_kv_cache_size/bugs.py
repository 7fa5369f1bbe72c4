"""Wrong answers to `kv_cache_size`."""


def _sizes(config, numbers, tokens, number_bytes):
    size = 2 * config["num_hidden_layers"] * numbers * tokens * number_bytes
    return size / 1000**3, size / 1024**3


def _head_dim(config):
    return config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])


def _kv_heads(config):
    return config.get("num_key_value_heads", config["num_attention_heads"])


def hidden_size_counted(config, tokens, number_bytes):
    """That is layers · hidden_size, the article's formula: right only where every query head has keys of its own."""
    return _sizes(config, config["hidden_size"], tokens, number_bytes)


def query_heads_counted(config, tokens, number_bytes):
    """Query heads were counted, though num_key_value_heads says how many are kept."""
    return _sizes(config, config["num_attention_heads"] * _head_dim(config), tokens, number_bytes)


def one_kv_head_if_missing(config, tokens, number_bytes):
    """Where num_key_value_heads is missing, one was taken: then every query head has its own, as in Llama 2 7B."""
    return _sizes(config, config.get("num_key_value_heads", 1) * _head_dim(config), tokens, number_bytes)


def hidden_size_shared_by_kv_heads(config, tokens, number_bytes):
    """head_dim was hidden_size divided by the key/value heads: it is the query heads that share hidden_size."""
    kv_heads = _kv_heads(config)
    return _sizes(config, kv_heads * config.get("head_dim", config["hidden_size"] // kv_heads), tokens, number_bytes)


def head_dim_ignored(config, tokens, number_bytes):
    """The config's own head_dim was ignored: in Qwen3 and others heads are wider than their share of hidden_size."""
    shared = config["hidden_size"] // config["num_attention_heads"]
    return _sizes(config, _kv_heads(config) * shared, tokens, number_bytes)


def only_keys(config, tokens, number_bytes):
    """It is half of what it should be: both keys and values are kept."""
    gigabytes, gibibytes = _sizes(config, _kv_heads(config) * _head_dim(config), tokens, number_bytes)
    return gigabytes / 2, gibibytes / 2


def units_swapped(config, tokens, number_bytes):
    """GB and GiB are swapped: a GiB is larger, so there are fewer of them."""
    return _sizes(config, _kv_heads(config) * _head_dim(config), tokens, number_bytes)[::-1]


def one_unit(config, tokens, number_bytes):
    """Both are GB: a GiB has 1024**3 bytes."""
    gigabytes, _ = _sizes(config, _kv_heads(config) * _head_dim(config), tokens, number_bytes)
    return gigabytes, gigabytes


def megabytes(config, tokens, number_bytes):
    """Those are MB and MiB: giga is the third power of 1000, and gibi of 1024."""
    size = 2 * config["num_hidden_layers"] * _kv_heads(config) * _head_dim(config) * tokens * number_bytes
    return size / 1000**2, size / 1024**2
