from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from s3_sync import metric_defs
from s3_sync.config import MetadataMigration, Migration, Remote, Settings, load
from s3_sync.config.document import config_page, main, metrics_page
from s3_sync.config.fields import file_names
from s3_sync.config.mapping import Mapping
from s3_sync.config.migration import MetadataMigratorSettings, MigratorSettings, Syslog

DOCS = Path(__file__).parents[3] / 'docs'
ENVIRON = dict.fromkeys(('ONESPACE_AWS_SECRET', 'ONESPACE_SITE_SECRET', 'ONESPACE_S3_SECRET',
                         'ONESPACE_SWIFT_SECRET'), 'x')
MODELS = (Settings, Mapping, Remote, Migration, MetadataMigration, MigratorSettings, MetadataMigratorSettings, Syslog)


@pytest.mark.parametrize('name', ['sync.yaml', 'sync.json'])
def test_the_samples_are_good_and_without_warnings(name: str) -> None:
    settings = load(DOCS / 'samples' / name, environ=ENVIRON)
    assert len(settings.containers) >= 2
    assert settings.warnings == ()


def test_the_pages_in_the_repository_are_what_the_code_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['--check']) == 0, capsys.readouterr().err


def test_every_key_is_described() -> None:
    page = config_page(DOCS / 'samples')
    for model in MODELS:
        for key, name in file_names(model).items():
            assert f'| `{key}` | ' in page, key
            assert model.model_fields[name].description, key


def test_every_metric_is_described() -> None:
    page = metrics_page()
    for metric in metric_defs.ALL:
        assert f'| `{metric.name}` | {metric.kind} | ' in page
        assert metric.help in page


def test_stale_pages_are_told_and_can_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(DOCS / 'samples', tmp_path / 'samples')
    assert main(['--check'], tmp_path) == 1
    assert 'config.md, metrics.md' in capsys.readouterr().err
    assert main([], tmp_path) == 0
    assert main(['--check'], tmp_path) == 0
