"""Wrong answers to `kv_cache_size`."""


def _sizes(config, numbers, tokens, number_bytes):
    size = 2 * config["num_hidden_layers"] * numbers * tokens * number_bytes
    return size / 1000**3, size / 1024**3


def _head_dim(config):
    return config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])


def _kv_heads(config):
    return config.get("num_key_value_heads", config["num_attention_heads"])


def hidden_size_counted(config, tokens, number_bytes):
    """That is the article's formula, layers · hidden_size. It needs one key/value head per query head."""
    return _sizes(config, config["hidden_size"], tokens, number_bytes)


def query_heads_counted(config, tokens, number_bytes):
    """The query heads were counted. The cache has num_key_value_heads heads."""
    return _sizes(config, config["num_attention_heads"] * _head_dim(config), tokens, number_bytes)


def one_kv_head_if_missing(config, tokens, number_bytes):
    """Without num_key_value_heads, 1 was used. By default there are as many as query heads, as in Llama 2 7B."""
    return _sizes(config, config.get("num_key_value_heads", 1) * _head_dim(config), tokens, number_bytes)


def hidden_size_divided_by_kv_heads(config, tokens, number_bytes):
    """head_dim was hidden_size divided by the key/value heads. Divide by the number of query heads."""
    kv_heads = _kv_heads(config)
    return _sizes(config, kv_heads * config.get("head_dim", config["hidden_size"] // kv_heads), tokens, number_bytes)


def head_dim_ignored(config, tokens, number_bytes):
    """The config's head_dim was ignored. In Qwen3 and other models it is larger than hidden_size / query heads."""
    shared = config["hidden_size"] // config["num_attention_heads"]
    return _sizes(config, _kv_heads(config) * shared, tokens, number_bytes)


def only_keys(config, tokens, number_bytes):
    """The size is half of the correct one: the cache holds both keys and values."""
    gigabytes, gibibytes = _sizes(config, _kv_heads(config) * _head_dim(config), tokens, number_bytes)
    return gigabytes / 2, gibibytes / 2


def units_swapped(config, tokens, number_bytes):
    """GB and GiB are swapped. A GiB is larger, so the number of GiB is smaller."""
    return _sizes(config, _kv_heads(config) * _head_dim(config), tokens, number_bytes)[::-1]


def one_unit(config, tokens, number_bytes):
    """Both numbers are in GB. A GiB is 1024**3 bytes."""
    gigabytes, _ = _sizes(config, _kv_heads(config) * _head_dim(config), tokens, number_bytes)
    return gigabytes, gigabytes


def megabytes(config, tokens, number_bytes):
    """The numbers are in MB and MiB. Giga is 1000**3, and gibi is 1024**3."""
    size = 2 * config["num_hidden_layers"] * _kv_heads(config) * _head_dim(config) * tokens * number_bytes
    return size / 1000**2, size / 1024**2
