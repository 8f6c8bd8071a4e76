"""Many containers, one after the other and all at once: nothing is left in mpud."""
from concurrent.futures import ThreadPoolExecutor

from cases_oci import ENABLED, patch, unique
from containers import LOOK, expect_equal, expect_own_processes, run, wait_until

TITLE = "many containers"
NEEDS = ["runc"]
IN_A_ROW = 200
AT_ONCE = 50
world = None


def start():
    pass


def stop():
    pass


def ready_bundle():
    bundle = world.bundle(unique("bundle"), ["/bin/sh", "-c", LOOK], ENABLED)
    patch(bundle, "runc")
    return bundle


def expect_nothing_left(before):
    try:
        wait_until(lambda: not world.mpud_process.more(before), "mpud to let go")
    except AssertionError:
        expect_equal(world.mpud_process.more(before), {},
                     "descriptors and children of mpud")


def look(bundle):
    expect_own_processes(run(["runc", "run", "--bundle", bundle, unique("many")]).stdout)


def look_at_once(bundle):
    """Others of the same driver are many now; none may be seen."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(look, bundle) for _ in range(AT_ONCE)]:
            done.result()


def test_50_containers_at_once():
    bundle = ready_bundle()
    look_at_once(bundle)
    before = world.mpud_process.resources()
    taken = world.mpud_process.taken()
    look_at_once(bundle)
    expect_equal(world.mpud_process.taken() - taken, AT_ONCE, "listeners that mpud took")
    expect_nothing_left(before)


def test_200_containers_in_a_row():
    bundle = ready_bundle()
    look(bundle)
    before = world.mpud_process.resources()
    taken = world.mpud_process.taken()
    for _ in range(IN_A_ROW):
        look(bundle)
    expect_equal(world.mpud_process.taken() - taken, IN_A_ROW, "listeners that mpud took")
    expect_nothing_left(before)
