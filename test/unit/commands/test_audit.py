"""What ``1space audit`` refuses before it begins. What it does is seen beside real servers."""
from __future__ import annotations

import pytest

from test.unit.commands.conftest import Node


@pytest.mark.parametrize('deep', ['0', '1.5', 'all', '200%'])
def test_a_depth_that_means_nothing_is_a_usage_error(node: Node, deep: str) -> None:
    node.run('audit', '--deep', deep, code=2)
    assert f'--deep {deep}' in node.errors


def test_a_prefix_that_decodes_to_no_text_is_a_usage_error(node: Node) -> None:
    node.run('audit', '--prefix', '%ff', code=2)
    assert '%ff' in node.errors


def test_an_unknown_mapping_is_a_usage_error(node: Node) -> None:
    node.run('audit', 'three', code=2)
    assert 'three' in node.errors


def test_without_swifts_settings_nothing_can_be_compared(node: Node) -> None:
    node.run('audit', code=78)
    assert 'swift.conf' in node.errors
