"""Which test holds which requirement: the markers of all tests, read from their sources, none of which is run."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .requirements import SPECIFICATIONS

TESTS = Path(__file__).resolve().parent.parent

Key = tuple[str, str]
"""A specification and a section of it."""


def held() -> Mapping[Key, Sequence[str]]:
    """The ids of the tests that hold each requirement, sorted.

    Raises:
        ValueError: for a marker whose words are no literals.
    """
    found: dict[Key, set[str]] = defaultdict(set)
    for path in sorted(TESTS.rglob("test_*.py")):
        if "node_modules" in path.parts:
            continue  # Packages bring files of such names, some in Python 2.
        for name, key in _marks(ast.parse(path.read_text())):
            found[key].add(f"{path.relative_to(TESTS.parent).as_posix()}::{name}")
    return {key: sorted(tests) for key, tests in found.items()}


def required() -> list[Key]:
    """All requirements in their order."""
    return [(name, rule.section) for name, rules in SPECIFICATIONS.items() for rule in rules]


def _marks(module: ast.Module) -> Iterator[tuple[str, Key]]:
    """Tests with what they are marked with, by themselves or by their module."""
    everywhere = [key for statement in module.body if _is_pytestmark(statement) for key in _keys(statement)]
    for statement in module.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and statement.name.startswith("test_"):
            own = [key for decorator in statement.decorator_list for key in _keys(decorator)]
            for key in everywhere + own:
                yield statement.name, key


def _is_pytestmark(statement: ast.stmt) -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in targets)


def _keys(tree: ast.AST) -> Iterator[Key]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "compliance":
            specification, *sections = map(ast.literal_eval, node.args)
            for section in sections:
                yield specification, section
