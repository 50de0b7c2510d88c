"""Which of several remote versions is shown."""
from __future__ import annotations

from swift.common.utils import Timestamp

from s3_sync.errors import ConnectionFailed
from s3_sync.timestamps import RowTimes, marked
from test.unit.shunting.reads_world import OLD
from test.unit.shunting.writes_world import WriteWorld

LATER = Timestamp(float(OLD) + 100)


def archived(world: WriteWorld, time: Timestamp) -> None:
    """The version of this time went to a remote."""
    world.cluster.deleted['c', 'o'] = marked(RowTimes(time, time, time), float(time))


def test_the_first_remote_that_has_it_is_shown() -> None:
    world = WriteWorld({}, {})
    world.hold(b'first', 1)
    world.hold(b'second', 2, data_time=LATER)
    assert world.shown() == b'first'


def test_a_remote_with_an_earlier_version_gives_way_to_the_one_with_what_was_archived() -> None:
    world = WriteWorld({}, {}, {})
    world.hold(b'first', 1, data_time=OLD)
    world.hold(b'second', 2, data_time=LATER)
    world.hold(b'first', 3, data_time=OLD)
    archived(world, LATER)
    assert world.shown() == b'second'
    assert world.remote.open_bodies == 0


def test_an_earlier_version_is_better_than_none_and_the_newest_of_them_is_best() -> None:
    world = WriteWorld({}, {}, {})
    world.hold(b'oldest', 1, data_time=OLD)
    world.hold(b'older', 2, data_time=Timestamp(float(OLD) + 1))
    world.hold(b'oldest', 3, data_time=OLD)
    archived(world, LATER)
    assert world.shown() == b'older'
    assert [world.remote_of(number).open_bodies for number in (1, 2, 3)] == [0, 0, 0]


def test_an_earlier_version_is_not_shown_while_a_remote_that_may_have_the_right_one_is_down() -> None:
    world = WriteWorld({}, {})
    world.hold(b'first', 1, data_time=OLD)
    world.remote_of(2).errors = [ConnectionFailed('down')] * 2
    archived(world, LATER)
    assert world.shown() == 503
    assert world.remote.open_bodies == 0


def test_what_is_remembered_of_an_earlier_version_is_not_shown_for_a_later_one() -> None:
    world = WriteWorld()
    world.hold(b'first', data_time=OLD)
    archived(world, OLD)
    assert world.shown() == b'first'
    world.hold(b'second', data_time=LATER)
    archived(world, LATER)
    assert world.shown() == b'second'
