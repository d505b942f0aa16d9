"""Section 6.7: FOLDER, with the root of the folder computed anew from the list."""

import blake3
from asking import goes_on, pages
from basics import Skipped, check_ok, check_refusal, demand, short
from checks import check

PAGE = 512


def a_folder(run):
    """The folder of the peer with the most files."""
    counts = {}
    for file in run.world.files or []:
        above = file["name"].rpartition("/")[0]
        if above:
            counts[above] = counts.get(above, 0) + 1
    if not counts:
        raise Skipped("the peer shares no folder")
    return max(counts, key=counts.get)


def list_root(files):
    lines = "".join(f"{file['root']} {file['size']} {file['name']}\n" for file in files)
    return blake3.root(lines.encode())


@check("FOLDER / count, size and root are those of the list", phase="long")
def folder_summary(run):
    folder, link = a_folder(run), run.link(run.peer)
    brief = link.ask("FOLDER", name=folder, limit=0)
    check_ok(brief, "FOLDER_OK")
    demand((brief["name"], brief["files"], brief["cursor"]) == (folder, [], None), f"no summary: {short(brief)}")
    files = pages(link, "FOLDER", "files", PAGE, name=folder)
    names = [file["name"].encode() for file in files]
    demand(names == sorted(set(names)), "names are not in order")
    demand(brief["count"] == len(files), f"a count of {brief['count']} for {len(files)} files")
    demand(brief["size"] == sum(file["size"] for file in files), "another size than that of all files")
    if any(file["root"] is None for file in files):
        demand(brief["root"] is None, "a root although a file has none")
    else:
        demand(brief["root"] == list_root(files), f"{brief['root']} is not the hash of the list")


@check("FOLDER / small pages make the same list", phase="long")
def folder_pages(run):
    folder, link = a_folder(run), run.link(run.peer)
    whole = pages(link, "FOLDER", "files", PAGE, name=folder)
    small, cursor = [], {}
    while cursor is not None and len(small) <= len(whole):
        page = link.ask("FOLDER", name=folder, limit=7, **cursor)
        check_ok(page, "FOLDER_OK")
        demand(0 < len(page["files"]) <= 7, f"a page of {len(page['files'])} files")
        small += page["files"]
        cursor = page["cursor"] and {"cursor": page["cursor"]}
    demand(small == whole, "pages of 7 make another list")
    everything = {file["name"]: file for file in pages(link, "LS", "files", 256, most_pages=400)}
    for file in whole:
        listed = everything.get(f"{folder}/{file['name']}")
        demand(listed and (listed["size"], listed["root"]) == (file["size"], file["root"]), f"LS has no {short(file)}")


@check("FOLDER / names that are no folder")
def folder_refusals(run):
    link = run.link(run.peer)
    check_refusal(link.ask("FOLDER", name=run.name("")), "not_found")
    for name in ("..", "/", "a/", "a//b", "a/../b", ""):
        check_refusal(link.ask("FOLDER", name=name), "bad_name")
    check_refusal(link.ask("FOLDER"), "bad_request")
    check_refusal(link.ask("FOLDER", name="a", limit=-1), "bad_request")
    check_refusal(run.link(run.server).ask("FOLDER", name="a"), "unsupported")
    goes_on(link)
