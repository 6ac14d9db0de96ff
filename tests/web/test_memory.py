"""What is read of a process's and a cgroup's memory, from folders as the system makes them."""

import mmap
import os
import re
from pathlib import Path

import pytest

from porch.contract.errors import SetupError
from porch.web.memory import Load, Memory, find_groups, process_bytes
from tests.web.cgroups import GIB, MIB, CgroupV1, CgroupV2


def test_a_cgroup_of_version_2_is_read_without_what_it_can_take_back(tmp_path: Path) -> None:
    group = CgroupV2(tmp_path, limit=GIB)
    group.set(current=900 * MIB, active_file=200 * MIB, inactive_file=300 * MIB)
    assert group.memory().fullest() == Load("the cgroup", 400 * MIB, GIB)


def test_a_cgroup_of_version_1_is_read_without_what_it_can_take_back(tmp_path: Path) -> None:
    group = CgroupV1(tmp_path, limit=GIB)
    group.set(current=900 * MIB, active_file=200 * MIB, inactive_file=300 * MIB)
    assert group.memory().fullest() == Load("the cgroup", 400 * MIB, GIB)


def test_a_limit_of_a_cgroup_further_out_holds_too(tmp_path: Path) -> None:
    group = CgroupV2(tmp_path, limit=None)
    group.set(current=10 * MIB)
    outer = group.folder.parent
    (outer / "memory.max").write_text(f"{100 * MIB}\n")
    (outer / "memory.current").write_text(f"{90 * MIB}\n")
    (outer / "memory.stat").write_text("anon 1\n")
    load = group.memory().fullest()
    assert load is not None
    assert (load.used, load.limit) == (90 * MIB, 100 * MIB)


def test_a_path_of_the_host_s_is_looked_for_where_the_container_has_its_own(tmp_path: Path) -> None:
    group = CgroupV2(tmp_path, limit=GIB)
    (group.proc / "self" / "cgroup").write_text("0::/kubepods/pod1/elsewhere\n")
    for name in ("memory.max", "memory.current", "memory.stat"):
        (group.folder / name).rename(group.root / name)
    assert [found.folder for found in find_groups(group.proc, group.root)] == [group.root]


def test_without_cgroups_the_process_is_measured_against_its_setting(tmp_path: Path) -> None:
    memory = Memory(1 << 50, cgroups=tmp_path)
    load = memory.fullest()
    assert load is not None
    assert load.limit == 1 << 50
    assert load.whose == "this process"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_the_process_grows_with_what_it_holds_and_not_with_files_that_it_maps(tmp_path: Path) -> None:
    before = process_bytes()
    assert before is not None
    # Pages of its own: an allocator may give out what others have freed and the process still has.
    held = mmap.mmap(-1, 64 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    held.write(os.urandom(MIB) * 64)
    after = process_bytes()
    assert after is not None
    assert after - before > 60 * MIB
    assert len(held) == 64 * MIB


def test_a_limit_that_leaves_no_room_for_work_is_refused_with_one_that_does() -> None:
    used = process_bytes()
    assert used is not None
    with pytest.raises(SetupError, match=r"in use before any work\. Set it to at least (\d+)") as refused:
        Memory(used).check_room()
    enough = re.search(r"at least (\d+)", refused.value.message)
    assert enough
    Memory(int(enough[1])).check_room()
    Memory(0).check_room()
