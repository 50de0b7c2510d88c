from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from s3_sync.config import Remote, Secret, Settings, load
from s3_sync.config.secrets import SecretProblem, resolve


def found(raw: object, folder: Path = Path('/'), **environ: str) -> str:
    return resolve(raw, environ=environ, folder=folder).reveal()


@pytest.mark.parametrize('show', [str, repr, '{}'.format, '{:>10}'.format, '%s'.__mod__, '%r'.__mod__, ascii])
def test_no_way_of_printing_shows_it(show: Callable[[object], str]) -> None:
    assert '***' in show(Secret('hunter2'))
    assert 'hunter2' not in show(Secret('hunter2'))


def test_only_reveal_gives_it_out() -> None:
    assert Secret('hunter2').reveal() == 'hunter2'


def test_json_refuses_it() -> None:
    with pytest.raises(TypeError):
        json.dumps(Secret('hunter2'))
    with pytest.raises(TypeError):
        list(Secret('hunter2'))  # type: ignore[call-overload]


def test_models_show_and_dump_stars() -> None:
    remote = Remote(bucket='b', identity='k', secret=Secret('hunter2'))
    for text in (repr(remote), remote.model_dump_json(), str(remote.model_dump()), str(remote.model_dump(mode='json'))):
        assert 'hunter2' not in text
        assert '***' in text


def test_a_model_that_refuses_one_does_not_show_it() -> None:
    with pytest.raises(ValidationError) as caught:
        Remote.model_validate({'aws_bucket': 3, 'aws_secret': 'hunter2', 'aws_identity': Secret('hunter2')})
    assert 'hunter2' not in str(caught.value)


def test_it_survives_pickling_for_worker_processes() -> None:
    copy = pickle.loads(pickle.dumps(Secret('hunter2', origin='env X')))
    assert copy.reveal() == 'hunter2'
    assert copy.origin == 'env X'
    assert 'hunter2' not in repr(copy)


def test_equality_is_by_text() -> None:
    assert Secret('a') == Secret('a', origin='env X')
    assert hash(Secret('a')) == hash(Secret('a', origin='env X'))
    assert Secret('a') != Secret('b')
    assert Secret('a') != 'a'
    assert Secret('ä') == Secret('ä')


def test_it_comes_inline_from_the_environment_or_from_a_file(tmp_path: Path) -> None:
    (tmp_path / 'key').write_text('from file\n')
    assert found('inline') == 'inline'
    assert found({'env': 'KEY'}, KEY='from env') == 'from env'
    assert found({'file': str(tmp_path / 'key')}) == 'from file'
    assert found({'file': 'key'}, folder=tmp_path) == 'from file'


@pytest.mark.parametrize(('text', 'secret'), [('a\n', 'a'), ('a\r\n', 'a'), ('a', 'a'), (' a ', ' a ')])
def test_one_line_break_at_the_end_of_a_file_is_dropped(tmp_path: Path, text: str, secret: str) -> None:
    (tmp_path / 'key').write_bytes(text.encode())
    assert found({'file': str(tmp_path / 'key')}) == secret


@pytest.mark.parametrize(('raw', 'reason'), [
    ({'env': 'KEY'}, 'environment variable KEY is not set'),
    ({'env': 'EMPTY'}, 'env EMPTY is empty'),
    ({'env': 'LINES'}, 'env LINES holds line breaks'),
    ({'file': '/nowhere/key'}, 'cannot read the secret file /nowhere/key: No such file'),
    ({'file': '/'}, 'cannot read the secret file /'),
    ('', 'must not be empty'), ('hunter2\n', 'must not hold line breaks'),
    ({}, 'must be text'), ({'env': 3}, 'must be text'), ({'env': 'A', 'file': 'B'}, 'must be text'),
    ({'vault': 'hunter2'}, 'must be text'), (12, 'must be text'), (['hunter2'], 'must be text'),
])
def test_a_secret_that_cannot_be_had_names_the_place_and_never_a_value(raw: object, reason: str) -> None:
    with pytest.raises(SecretProblem, match=reason) as caught:
        found(raw, EMPTY='', LINES='hunter2\nhunter3')
    assert 'hunter' not in str(caught.value)


def test_a_secret_file_with_two_line_breaks_or_binary_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'two').write_text('hunter2\n\n')
    (tmp_path / 'binary').write_bytes(b'hunter2\xff')
    for name, reason in (('two', 'line breaks'), ('binary', 'not UTF-8')):
        with pytest.raises(SecretProblem, match=reason) as caught:
            found({'file': str(tmp_path / name)})
        assert 'hunter2' not in str(caught.value)


def test_a_secret_file_that_everybody_can_read_is_a_warning(tmp_path: Path, s3: Any, loaded: Any) -> None:
    file = tmp_path / 'key'
    file.write_text('hunter2')
    file.chmod(0o600)
    quiet: Settings = loaded(s3(aws_secret={'file': 'key'}))
    assert quiet.warnings == ()
    assert quiet.secret_files == (str(file),)
    file.chmod(0o644)
    loud: Settings = loaded(s3(aws_secret={'file': 'key'}))
    assert [w for w in loud.warnings if str(file) in w and 'every user' in w]


def test_a_file_with_inline_secrets_that_everybody_can_read_is_a_warning(s3: Any, loaded: Any) -> None:
    settings: Settings = loaded(s3())
    assert settings.warnings == ()
    Path(settings.path).chmod(0o644)
    assert 'every user of this machine can read it' in load(settings.path).warnings[0]
