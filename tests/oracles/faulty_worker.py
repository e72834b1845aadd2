"""A command whose process hangs in Python at a place: PLACE SECONDS MODULE FLAGS...

PLACE is what `cluster.members.at` is told, such as "step 3"; before it is told, the process sleeps.
"""

import importlib
import pathlib
import sys
import time

from dignified_jax.cluster import members

_, PLACE, SECONDS, MODULE, *FLAGS = sys.argv
told = members.at


def at(place, kind="long"):
    if place == PLACE:
        pathlib.Path(f"hangs-{members.current().index}").touch()
        time.sleep(float(SECONDS))
    told(place, kind)


members.at = at
sys.exit(importlib.import_module(f"dignified_jax.{MODULE}").main(FLAGS))
