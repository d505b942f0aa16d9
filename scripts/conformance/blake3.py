"""BLAKE3 in plain Python: the root of a content, and the values of its pieces. Slow (about 1 s a MiB), and independent of every library.

As a program: blake3.py FILE... prints what b3sum prints.
"""

import struct
import sys

CHUNK = 1024
PIECE = 1 << 20
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
SHUFFLE = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)


def schedules():
    """The word order of a block in each of the seven rounds."""
    order = tuple(range(16))
    for _ in range(7):
        yield order
        order = tuple(order[place] for place in SHUFFLE)


def mixed(a, b, c, d, x, y):
    """The code of one quarter round, inlined below: calls would take three times as long."""
    return [
        f"{a}=({a}+{b}+m{x})&M", f"{d}^={a}", f"{d}=({d}>>16|{d}<<16)&M",
        f"{c}=({c}+{d})&M", f"{b}^={c}", f"{b}=({b}>>12|{b}<<20)&M",
        f"{a}=({a}+{b}+m{y})&M", f"{d}^={a}", f"{d}=({d}>>8|{d}<<24)&M",
        f"{c}=({c}+{d})&M", f"{b}^={c}", f"{b}=({b}>>7|{b}<<25)&M",
    ]


def compressor():
    """The compression function: the new chaining value, eight words, of a block of sixteen."""
    names = [f"v{n}" for n in range(16)]
    quarters = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15), (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
    lines = [
        "def compress(value, block, counter, length, flags, M=0xFFFFFFFF):",
        f" {','.join(names[:8])}=value",
        f" {','.join(names[8:12])}={','.join(map(str, IV[:4]))}",
        " v12,v13,v14,v15=counter&M,counter>>32,length,flags",
        f" {','.join(f'm{n}' for n in range(16))}=block",
    ]
    for order in schedules():
        for number, quarter in enumerate(quarters):
            lines += [" " + line for line in mixed(*(names[n] for n in quarter), order[2 * number], order[2 * number + 1])]
    lines.append(" return " + ",".join(f"v{n}^v{n + 8}" for n in range(8)))
    space = {}
    exec("\n".join(lines), space)
    return space["compress"]


compress = compressor()


def chunk(data, counter, root=False):
    """The value of at most 1,024 bytes, chunk number `counter` of its content."""
    value = IV
    blocks = range(0, max(len(data), 1), 64)
    for at in blocks:
        block = data[at:at + 64]
        flags = CHUNK_START * (at == 0)
        if at == blocks[-1]:
            flags |= CHUNK_END | ROOT * root
        value = compress(value, struct.unpack("<16I", block.ljust(64, b"\0")), counter, len(block), flags)
    return value


def parent(left, right, root=False):
    return compress(IV, left + right, 0, 64, PARENT | ROOT * root)


def split(count):
    """The number of `count` leaves in the left subtree: the largest smaller power of two."""
    return 1 << (count - 1).bit_length() - 1


def merge(values, root):
    if len(values) == 1:
        return values[0]
    left = split(len(values))
    return parent(merge(values[:left], False), merge(values[left:], False), root)


def words(value):
    return struct.unpack("<8I", value)


def value_of(data, piece, alone=False):
    """The 32-byte hash of one piece; the root when `alone`."""
    first = piece * (PIECE // CHUNK)
    count = max(1, -(-len(data) // CHUNK))
    chunks = [chunk(data[n * CHUNK:(n + 1) * CHUNK], first + n, alone and count == 1) for n in range(count)]
    return struct.pack("<8I", *merge(chunks, alone))


def list_of(data):
    """The hashes of all pieces."""
    count = max(1, -(-len(data) // PIECE))
    return [value_of(data[n * PIECE:(n + 1) * PIECE], n, count == 1) for n in range(count)]


def root_of(values):
    """The root, in hex digits, to which a list leads."""
    if len(values) == 1:
        return values[0].hex()
    return struct.pack("<8I", *merge([words(value) for value in values], True)).hex()


def root(data):
    return root_of(list_of(data))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        with open(name, "rb") as file:
            print(f"{root(file.read())}  {name}")
