"""The unit files and the programs they start agree."""
from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

from s3_sync.commands.edge import EXIT_CONFIG

UNITS = Path(__file__).parents[2] / 'scripts' / 'systemd'


def test_a_wrong_configuration_is_not_restarted_and_a_stop_has_time_for_what_is_under_way() -> None:
    unit = ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNITS / 'swift-s3-sync.service')
    service = unit['Service']
    assert int(service['RestartPreventExitStatus']) == EXIT_CONFIG
    assert service['Restart'] == 'on-failure'
    assert int(service['TimeoutStopSec']) > 10
    assert service['ExecReload'].endswith('-HUP $MAINPID')
    assert (service['User'], service['KillMode']) == ('swift', 'mixed')
