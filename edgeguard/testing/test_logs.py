"""What the application writes, where a driver can tell it (edgeguard.cluster.logs)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.cluster.logs import Logs
from edgeguard.errors import UsageError
from edgeguard.testing.acts import deploy, lock
from edgeguard.testing.world import until

if TYPE_CHECKING:
    from edgeguard.testing.world import World

_LONGEST = 10_000
_WRITES = """\
echo "begins on $EDGEGUARD_SERVER" >&2
head -c 20000 /dev/zero | tr '\\0' x
echo
printf 'three\\377\\033[31m\\n'
"""


def test_the_output_of_the_application_is_told_line_by_line_and_gone_on_with(world: World) -> None:
    cluster = world.cluster
    if not isinstance(cluster, Logs):
        return
    assert not cluster.logs("web1", place=None, lines=10, ago=None).more  # earlier tests may have written
    lock(world)
    deploy(world, 1, world.generation("one", start=_WRITES + world.serve))

    def all_written() -> bool:
        return "listening" in [line.text for line in cluster.logs("web1", place=None, lines=4, ago=None).lines]

    until(all_written, "the application's last words are told")
    piece = cluster.logs("web1", place=None, lines=4, ago=None)
    first, long, odd, last = (line.text for line in piece.lines)
    assert (first, odd, last) == ("begins on web1", "three\ufffd\x1b[31m", "listening")
    assert long.startswith("xxx")
    assert len(long) < _LONGEST
    assert not piece.more
    assert [line.text for line in cluster.logs("web1", place=None, lines=1, ago=None).lines] == ["listening"]
    try:
        assert cluster.logs("web1", place=None, lines=None, ago=0).lines == ()
        assert len(cluster.logs("web1", place=None, lines=2, ago=3600).lines) == 2
    except UsageError:  # a driver that notes no times says so
        assert {line.at for line in piece.lines} == {None}

    place = cluster.logs("web1", place=None, lines=0, ago=None).place
    world.end_web_process("web1")
    told: list[str] = []

    def written_again() -> bool:
        nonlocal place
        piece = cluster.logs("web1", place=place, lines=None, ago=None)
        place = piece.place
        told.extend(line.text for line in piece.lines)
        return "listening" in told

    until(written_again, "a second start writes")
    assert (told.count("begins on web1"), told[-1]) == (1, "listening")  # what was told before is not told again
