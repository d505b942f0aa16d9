#!/usr/bin/env python3
"""Writes a video of any length without an encoder: uncompressed pictures in an AVI file, which every player shows.

Usage: make-video.py FILE [MEGABYTES]     (default 1100; less than 2000, the limit of a plain AVI)

Coloured bars move to the left; a white line at the bottom grows with each picture, so all pictures differ.
"""

import struct
import sys

WIDTH, HEIGHT, RATE = 640, 360, 25
PICTURE = WIDTH * HEIGHT * 3
LINE = 12  # rows of the growing line
COLOURS = [(192, 192, 192), (0, 192, 192), (192, 192, 0), (0, 192, 0), (192, 0, 192), (0, 0, 192), (192, 0, 0), (32, 32, 32)]  # blue, green, red


def chunk(name, content):
    return name + struct.pack("<I", len(content)) + content


def headers(count):
    """The list `hdrl`: one stream of pictures, bottom row first, 24 bits a pixel."""
    main = struct.pack("<14I", 1_000_000 // RATE, PICTURE * RATE, 0, 0x10, count, 0, 1, PICTURE, WIDTH, HEIGHT, 0, 0, 0, 0)
    stream = b"vidsDIB " + struct.pack("<I2H8I4H", 0, 0, 0, 0, 1, RATE, 0, count, PICTURE, 0xFFFFFFFF, 0, 0, 0, WIDTH, HEIGHT)
    form = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 24, 0, PICTURE, 0, 0, 0, 0)
    strl = chunk(b"LIST", b"strl" + chunk(b"strh", stream) + chunk(b"strf", form))
    return chunk(b"LIST", b"hdrl" + chunk(b"avih", main) + strl)


def picture(number, count, bars):
    shift = number * 4 % WIDTH * 3
    row = bars[shift:] + bars[:shift]
    white = (number + 1) * WIDTH // count
    line = b"\xff\xff\xff" * white + b"\x00\x00\x00" * (WIDTH - white)
    return line * LINE + row * (HEIGHT - LINE)


def main():
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    megabytes = int(sys.argv[2]) if len(sys.argv) == 3 else 1100
    if not 1 <= megabytes < 2000:
        sys.exit("between 1 and 1999 megabytes, please")
    count = megabytes * 1_000_000 // (PICTURE + 8) + 1
    bars = b"".join(bytes(COLOURS[x * len(COLOURS) // WIDTH]) for x in range(WIDTH))
    head = headers(count)
    pictures = 4 + count * (PICTURE + 8)  # bytes of the list `movi`
    # The index holds the offset of each picture, counted from the word `movi`.
    index = b"".join(b"00db" + struct.pack("<3I", 0x10, 4 + n * (PICTURE + 8), PICTURE) for n in range(count))
    whole = 4 + len(head) + 8 + pictures + 8 + len(index)
    with open(sys.argv[1], "wb") as file:
        file.write(b"RIFF" + struct.pack("<I", whole) + b"AVI " + head + b"LIST" + struct.pack("<I", pictures) + b"movi")
        for number in range(count):
            file.write(b"00db" + struct.pack("<I", PICTURE))
            file.write(picture(number, count, bars))
        file.write(chunk(b"idx1", index))
    print(f"{count} pictures of {WIDTH}x{HEIGHT}, {count / RATE:.0f} s, {whole + 8} bytes")


if __name__ == "__main__":
    main()
