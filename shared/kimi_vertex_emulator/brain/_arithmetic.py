"""Arithmetic expressions as a sequence of tool calls: `(3 + 4) * 5` is an addition, then a multiplication."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Operation", "operations"]

_WORDS: dict[type[ast.operator], tuple[str, ...]] = {
    ast.Add: ("add", "sum", "plus"),
    ast.Sub: ("subtract", "minus", "difference"),
    ast.Mult: ("multiply", "times", "product"),
    ast.Div: ("divide", "quotient", "division"),
}
_SPELLINGS = str.maketrans({"×": "*", "÷": "/", "−": "-", "^": " "})


@dataclass(frozen=True, slots=True)
class Operation:
    """One step: what it is called, and its two operands, already worked out."""

    words: Sequence[str]
    left: float
    right: float


def operations(expression: str) -> list[Operation]:
    """The steps of an expression in the order they are worked out; empty if it is not plain arithmetic."""
    steps: list[Operation] = []
    try:
        _work_out(ast.parse(expression.translate(_SPELLINGS).strip(), mode="eval").body, steps)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return []
    return steps


def _work_out(node: ast.expr, steps: list[Operation]) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_work_out(node.operand, steps)
    if not isinstance(node, ast.BinOp) or type(node.op) not in _WORDS:
        raise ValueError("not plain arithmetic")
    left, right = _work_out(node.left, steps), _work_out(node.right, steps)
    steps.append(Operation(_WORDS[type(node.op)], left, right))
    if isinstance(node.op, ast.Add):
        return left + right
    if isinstance(node.op, ast.Sub):
        return left - right
    return left * right if isinstance(node.op, ast.Mult) else left / right
