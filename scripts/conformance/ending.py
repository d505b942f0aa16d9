"""Conditions after all other checks: both sides respond, and the index has no entries of this run."""

from asking import all_peers, soon
from basics import demand
from checks import BOTH, check


@check("at the end / it still answers", BOTH, "last")
def still_alive(run, side):
    link = run.link(side)
    link.ping()
    demand(run.http(side, "/").status == 200, "HTTP does not answer")


@check("at the end / nothing of this script is left in the index", None, "last")
def nothing_left(run):
    link = run.link(run.server)

    def ours(address):
        # Another client may use one of these addresses by now; its files do not contain our token.
        answer = link.ask("LS", peer=address)
        names = [file["name"] for file in answer.get("files", [])]
        return "error" not in answer and (not names or any(run.world.token in name for name in names))

    def left():
        return [entry["peer"] for entry in all_peers(link) if entry["peer"] in run.world.joined and ours(entry["peer"])]

    soon(lambda: not left(), "some addresses that were joined here are still listed")
