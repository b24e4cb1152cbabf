"""Prepares a small mixture over and over, with a fault each time; `test_kills.py` starts it as a process of its own.

It imports seqio once and forks for every attempt: python -m tests.data.killing FOLDER SCENARIO...

    kill MIXTURE EVERY   SIGKILL at every so-manieth fault point; then the same again, undisturbed
    full MIXTURE EVERY   a full disk (ENOSPC) there; then the same again
    stale MIXTURE EVERY  SIGKILL while stores that went stale are made anew
    random MIXTURE N     SIGKILL at N random moments of a process that prepares with forks of its own
    race MIXTURE N       two processes that prepare the same at once, then two with the same tasks in opposite order
"""

import collections
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import time
from typing import Any

from flan_jax.data.preparing import chunks, resolving
from flan_jax.data.preparing import forks as processes
from flan_jax.data.resolve import resolve
from flan_jax.data.stores import store as stores
from tests.data.faults import Faults, Here, Scene, register

PART_ROWS = 7


def each_point(scene: Scene, every: int, full: bool = False) -> dict[str, Any]:
    """A fault at every point of preparing; the next attempt must end with the bytes of an undisturbed one."""
    _, undisturbed = scene.attempt(Faults())
    reference, faults, told = scene.files(), [], collections.Counter()
    for at, point in list(enumerate(undisturbed["passed"]))[every - 1 :: every]:
        scene.clear()
        ended, answer = scene.attempt(Faults(at, full))
        if full:
            said = (answer or {}).get("told", "")
            if "No space left on device" not in said or str(scene.place) not in said or "STORE_DIR" not in said:
                faults.append(f"{point}: {answer}")
        elif ended != signal.SIGKILL:
            faults.append(f"{point}: ended by {ended} with {answer}")
        told[point.split()[0]] += 1
        faults += [f"{point}: {fault}" for fault in scene.wrong(reference)]
        kept = {name: os.stat(scene.place / name).st_ino for name in scene.files() if name.endswith(".bin")}
        ended, answer = scene.attempt(Faults())
        if ended or not answer or "passed" not in answer or scene.files() != reference:
            differs = scene.files().items() ^ reference.items()
            faults.append(f"{point}: afterwards {answer}, {sorted(name for name, _ in differs)}")
        # What was done stays: parts of tasks that are cut by rows are not written again.
        again = [n for n, inode in kept.items() if "shout" not in n and os.stat(scene.place / n).st_ino != inode]
        faults += [f"{point}: {name} was written again" for name in again]
    return {"points": undisturbed["passed"], "met": told, "faults": faults, "files": sorted(reference)}


def while_stale(scene: Scene, every: int) -> dict[str, Any]:
    """Kills at every point of making stores anew that hold what their tasks gave before."""
    scene.attempt(Faults())
    old = scene.files()
    kept = scene.place.with_name("old")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(scene.place, kept)

    def begin() -> None:
        scene.clear()
        shutil.copytree(kept, scene.place)
        shutil.rmtree(scene.place / "resolved")  # as another mixture that has the tasks would find them

    begin()
    _, undisturbed = scene.attempt(Faults(), mood="loud ")
    new, faults, told = scene.files(), [], collections.Counter()
    if not any(old[name] != new[name] for name in old if name.endswith(".bin")):
        faults.append("the stores did not change")
    for at, point in list(enumerate(undisturbed["passed"]))[every - 1 :: every]:
        begin()
        ended, answer = scene.attempt(Faults(at), mood="loud ")
        if ended != signal.SIGKILL:
            faults.append(f"{point}: ended by {ended} with {answer}")
        told[point.split()[0]] += 1
        faults += [f"{point}: {fault}" for fault in scene.wrong(old, new)]
        scene.attempt(Faults(), mood="loud ")
        if scene.files() != new:
            faults.append(f"{point}: afterwards {sorted(n for n, _ in scene.files().items() ^ new.items())}")
    return {"points": undisturbed["passed"], "met": told, "faults": faults, "files": sorted(new)}


def at_random(scene: Scene, times: int) -> dict[str, Any]:
    """Kills a process at random moments, each time where the one before it was stopped; its forks die with it."""
    processes.cores = lambda: 2
    began = time.monotonic()
    ended, _ = scene.attempt(Faults())
    lasts, reference = time.monotonic() - began, scene.files()
    scene.clear()
    faults, whole_runs, parts_kept, moments = [], 0, 0, random.Random(0)
    for _ in range(times):
        child = os.fork()
        if child == 0:
            resolve(scene.request, Here())
            os._exit(0)
        time.sleep(moments.uniform(0.05, 0.6) * lasts)
        forks = [int(pid) for pid in pathlib.Path(f"/proc/{child}/task/{child}/children").read_text().split()]
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        until = time.monotonic() + 10
        while any(_alive(pid) for pid in forks) or not _locks_free(scene.place):
            if time.monotonic() > until:
                faults.append(f"forks {[pid for pid in forks if _alive(pid)]} live on, or hold locks")
                break
            time.sleep(0.01)
        faults += scene.wrong(reference)
        now = scene.files()
        parts_kept += sum(name.endswith(".bin") for name in now)
        if now == reference:  # it was done already
            whole_runs += 1
            scene.clear()
    ended, answer = scene.attempt(Faults())
    if ended or scene.files() != reference:
        faults.append(f"afterwards {ended}, {sorted(name for name, _ in scene.files().items() ^ reference.items())}")
    return {"kills": times, "done_before": whole_runs, "parts_met": parts_kept, "faults": faults, "lasts": lasts}


def _alive(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _locks_free(place: pathlib.Path) -> bool:
    for path in place.rglob("*.lock"):
        lock = stores.Lock(path.with_suffix(""))
        if not lock.take(wait=False):
            return False
        lock.release()
    return True


def races(scene: Scene, times: int) -> dict[str, Any]:
    """Processes that prepare at once: each part is written by one of them, and the bytes are right."""
    processes.cores = lambda: 2
    other = Scene(scene.place.parent, f"{scene.request.mixture}_backwards")
    alone = {}
    for one in (scene, other):
        one.attempt(Faults())
        alone[one.request.mixture] = one.files()
        one.clear()
    faults, log, helped = [], scene.place.with_name("renames.log"), 0
    replace = os.replace

    def logged(source, target):
        with log.open("a") as file:
            file.write(f"{target}\n")
        replace(source, target)

    os.replace = logged
    for turn in range(times):
        scene.clear()
        log.write_text("")
        start, go = os.pipe()
        racers = (scene, other if turn % 2 else scene)
        children = [_racer(one, start, go) for one in racers]
        os.close(start)
        os.close(go)  # both start when the last writer's end is closed
        until = time.monotonic() + 60
        while children and time.monotonic() < until:
            for child in list(children):
                done, status = os.waitpid(child, os.WNOHANG)
                if done:
                    children.remove(child)
                    faults += [f"a process ended with {status}"] if status else []
            time.sleep(0.01)
        for child in children:
            faults.append("a process never ended")
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        wanted = alone[racers[0].request.mixture] | alone[racers[1].request.mixture]
        now = scene.files()
        if now != wanted:
            faults.append(f"other files: {sorted(name for name, _ in now.items() ^ wanted.items())}")
        written = collections.Counter(line for line in log.read_text().splitlines() if "/resolved/" not in line)
        faults += [f"{name} was written {n} times" for name, n in written.items() if n > 1]
        helped += len(written)
    os.replace = replace
    return {"rounds": times, "written": helped, "faults": faults}


def _racer(scene: Scene, start: int, go: int) -> int:
    child = os.fork()
    if child == 0:
        os.close(go)
        os.read(start, 1)
        resolve(scene.request, Here())
        os._exit(0)
    return child


def main(folder: str, *words: str) -> None:
    """Plays scenarios and prints what came of each as a line of JSON."""
    stores.PART_ROWS = chunks.CHUNK_ROWS = PART_ROWS
    place = pathlib.Path(folder)
    register(place)
    for what, mixture, number in zip(*[iter(words)] * 3, strict=True):
        processes.cores = lambda: 1  # one process, so that its points can be counted
        resolving.watched_files = lambda modules: []  # thousands, of no interest here
        began, scene = time.monotonic(), Scene(place, mixture)
        scene.clear()
        play = {"kill": each_point, "full": each_point, "stale": while_stale, "random": at_random, "race": races}[what]
        more = {"full": True} if what == "full" else {}
        found = play(scene, int(number), **more)
        print(json.dumps({"what": what, **found, "seconds": round(time.monotonic() - began, 1)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
