"""The arguments as people type them: values that begin with a dash, and the options of other programs.

argparse takes each argument with a leading dash for an option, so `--stop ---` would lack its value. `join_values`
writes it as `--stop=---`. For an option that does not exist, `hint` names the one that was meant.
"""

import argparse
from collections.abc import Iterator, Sequence

from minillm.serving.request_fields import OTHER_NAMES, did_you_mean

SHORT = {"-n": "--max-new-tokens", "-m": "--model", "-s": "--seed", "-sys": "--system", "-t": "--threads"}  # elsewhere
LONG = {"--system-prompt": "--system", "--predict": "--max-new-tokens", "--max-length": "--max-new-tokens"}
LONG |= {"--draft-model": "--draft", "--model-draft": "--draft", "--model-id": "--model", "--device": "--backend"}
FIELDS = {f"--{name.replace('_', '-')}": f"--{own.replace('_', '-')}" for name, own in OTHER_NAMES.items()}
PROMPT = ("-p", "--prompt", "-f", "--file")


def actions_of(parser: argparse.ArgumentParser, command: str | None = None) -> Iterator[argparse.Action]:
    """Yield all options and arguments of a command and of its own commands; of all commands if `command` is None."""
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            yield action
            continue
        for name, child in action.choices.items():
            if command is None or name == command:
                yield from actions_of(child)


def join_values(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> list[str]:
    """Return the arguments with each text that begins with a dash joined to its option: `--stop=---`.

    An option after it is left alone, so that a forgotten value is noticed; the message says how to join it by hand.
    """
    actions = list(actions_of(parser))
    options = {option for action in actions for option in action.option_strings}
    texts = texts_of(parser)
    joined = list[str]()
    for index, argument in enumerate(arguments):
        if argument == "--" and (not joined or joined[-1] not in texts):
            return [*joined, *arguments[index:]]
        value = argument.startswith("-") and argument.partition("=")[0] not in options
        if value and joined and joined[-1] in texts:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def texts_of(parser: argparse.ArgumentParser) -> set[str]:
    """Return the options that take a text, of a command or of all commands."""
    actions = [action for action in actions_of(parser) if action.nargs is None and action.type is None]
    return {option for action in actions for option in action.option_strings}


def hint(parser: argparse.ArgumentParser, command: str | None, unknown: Sequence[str]) -> str:
    """Return what may have been meant by the first unknown option, or "" if nothing comes near."""
    known = [option for action in actions_of(parser, command or "") for option in action.option_strings]
    positional = {action.dest for action in actions_of(parser, command or "") if not action.option_strings}
    word = next((argument for argument in unknown if argument.startswith("-")), "").partition("=")[0]
    if word in PROMPT and positional & {"prompt", "prompts"}:
        return f"; {word} is not needed, the prompt stands alone"
    if not word or word in known:  # known: it stands after --, as a text
        return ""
    meant = (SHORT | LONG | FIELDS).get(word.replace("_", "-"))
    return f"; did you mean {meant}?" if meant in known else did_you_mean(word, tuple(known))
