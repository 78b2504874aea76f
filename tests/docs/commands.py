"""The commands as values, read from their functions' signatures, and `docs/cli.md` made of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo, TyperInfo

from streams.cli import app

HEAD = """\
# Command line

<!-- Written from the commands by `pytest tests/docs/test_cli.py --update-golden`; edit their docstrings. -->

Results go to standard output; progress, notes and mistakes to standard error. Exit codes: 0 well, 1 failed, 2
invalid arguments, 130 interrupted. `streamgauge --install-completion` makes the shell
complete commands and options.
"""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument, or an option with its names.

    value   : what stands for its value; empty for a flag
    default : as the page writes it; `required`, or empty
    """

    names: tuple[str, ...]
    value: str
    default: str
    help: str
    many: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    help: str
    arguments: tuple[Parameter, ...]
    options: tuple[Parameter, ...]

    def mistake(self, words: Sequence[str]) -> str:
        """What is wrong with these arguments; empty if nothing is."""
        valued = {name: bool(option.value) for option in self.options for name in option.names}
        valued |= {"--help": False, "-h": False}
        places, rest = 0, list(words)
        while rest:
            word = rest.pop(0)
            if word == "-" or not word.startswith("-"):
                places += 1
            elif word not in valued:
                return f"streamgauge {self.name} has no option {word}"
            elif valued[word]:
                if not rest:
                    return f"{word} has no value"
                rest.pop(0)
        if places > len(self.arguments) and not any(argument.many for argument in self.arguments):
            return f"{places} arguments, {len(self.arguments)} are known"
        given = {word for word in words if word.startswith("-")}
        lacking = [o.names[0] for o in self.options if o.default == "required" and not given & set(o.names)]
        lacking += [a.value for a in self.arguments[places:] if a.default == "required"]
        return "" if not lacking or given & {"--help", "-h"} else f"{lacking[0]} is lacking"


def all_commands() -> dict[str, Command]:
    """The commands by name, in the order of the help; those of a group as `models train`."""
    groups = {"": app} | {
        f"{info.name or info.typer_instance.info.name} ": info.typer_instance for info in _groups()
    }
    found = {}
    for group, typer in groups.items():
        for registered in typer.registered_commands:
            assert registered.callback is not None
            name = group + (registered.name or registered.callback.__name__)
            found[name] = _command(name, registered.callback)
    return found


def command_of(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The name of the command that a line calls, and its arguments."""
    two = " ".join(words[:2])
    return (two, words[2:]) if two in all_commands() else (words[0], words[1:])


def _groups() -> Iterator[TyperInfo]:
    for info in app.registered_groups:
        assert info.typer_instance is not None
        yield info


def _command(name: str, function: Callable[..., Any]) -> Command:
    hints = get_type_hints(function, include_extras=True)
    arguments: list[Parameter] = []
    options: list[Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        annotation, info = get_args(hints[parameter.name])[:2]
        assert get_origin(hints[parameter.name]) is Annotated
        is_flag = annotation is bool
        value = info.metavar or _choices(annotation) or parameter.name.upper()
        default = "required" if parameter.default is parameter.empty else _default(parameter.default)
        if isinstance(info, ArgumentInfo):
            many = get_origin(annotation) is list
            arguments.append(Parameter((), value, default, info.help or "", many))
        else:
            assert isinstance(info, OptionInfo)
            # within Annotated, typer keeps the first name where a default would stand
            named = [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)]
            names = tuple(named or [f"--{parameter.name.replace('_', '-')}"])
            options.append(Parameter(names, "" if is_flag else value, default, info.help or ""))
    return Command(name, inspect.cleandoc(function.__doc__ or ""), tuple(arguments), tuple(options))


def _choices(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "|".join(str(member.value) for member in annotation)
    return ""


def _default(value: Any) -> str:
    if value is None or value is False or value == "":
        return ""
    value = value.value if isinstance(value, Enum) else value
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def reference() -> str:
    """The page `docs/cli.md`."""
    return HEAD + "".join("\n" + "\n".join(_section(one)) + "\n" for one in all_commands().values())


def _section(command: Command) -> Iterator[str]:
    yield f"## `streamgauge {command.name}`"
    yield ""
    yield from _text(command.help)
    if command.arguments:
        yield ""
        yield from ("| argument | |", "| --- | --- |")
        for one in command.arguments:
            left_out = f" If left out: {one.default}." if one.default not in ("", "required") else ""
            yield f"| `{one.value}{'…' * one.many}` | {one.help}{left_out} |"
    yield ""
    yield from ("| option | default | |", "| --- | --- | --- |")
    for one in command.options:
        names = ", ".join(f"`{name}`" for name in one.names)
        value = f" `{one.value}`".replace("|", "\\|") if one.value else ""
        yield f"| {names}{value} | {one.default}{' ' * bool(one.default)}| {one.help} |"
    yield "| `--help`, `-h` | | Show the same at the terminal. |"


def _text(help: str) -> Iterator[str]:
    """The docstring; its indented command lines become a block."""
    inside = False
    lines = help.replace("**Example**", "Example:").splitlines()
    for number, line in enumerate(lines):
        goes_on = next((later for later in lines[number + 1 :] if later), "").startswith("    ")
        if line.startswith("    ") and not inside:
            inside = True
            yield "```sh"
        if line or not inside:
            yield line.removeprefix("    ") if inside else line
        if inside and not goes_on:
            inside = False
            yield "```"
