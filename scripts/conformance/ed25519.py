#!/usr/bin/env python3
"""Ed25519 (RFC 8032, section 5.1) in plain Python: slow, simple, and independent of the program under test.

`ed25519.py` alone checks itself against the vectors of the RFC. Not for secrets that matter: nothing here takes constant time.
"""

import hashlib
import sys

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def hashed(data):
    return int.from_bytes(hashlib.sha512(data).digest(), "little")


# A point is (X, Y, Z, T) with x = X/Z, y = Y/Z and x*y = T/Z.


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def same(p, q):
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


def find_x(y, sign):
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if square == 0:
        return None if sign else 0
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P:
        return None
    return P - x if x & 1 != sign else x


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = find_x(BASE_Y, 0)
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def pack(point):
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def unpack(data):
    number = int.from_bytes(data, "little")
    y = number & (1 << 255) - 1
    x = find_x(y, number >> 255)
    return None if x is None else (x, y, 1, x * y % P)


def halves(secret):
    digest = hashlib.sha512(secret).digest()
    scalar = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
    return scalar, digest[32:]


def public(secret):
    """The public key of 32 secret bytes."""
    return pack(times(halves(secret)[0], BASE))


def sign(secret, message):
    """The 64 bytes of a signature."""
    scalar, prefix = halves(secret)
    key = pack(times(scalar, BASE))
    nonce = hashed(prefix + message) % ORDER
    point = pack(times(nonce, BASE))
    return point + ((nonce + hashed(point + key + message) % ORDER * scalar) % ORDER).to_bytes(32, "little")


def verify(key, message, signature):
    """True when the signature of the message is valid for this key."""
    if len(key) != 32 or len(signature) != 64:
        return False
    owner, point = unpack(key), unpack(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if owner is None or point is None or scalar >= ORDER:
        return False
    challenge = hashed(signature[:32] + key + message) % ORDER
    return same(times(scalar, BASE), add(point, times(challenge, owner)))


# RFC 8032, section 7.1: secret, public, message, signature.
VECTORS = [
    ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
     "d25bf5f0595bbe24655141438e7a100b"),
    ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
     "387b2eaeb4302aeeb00d291612bb0c00"),
    ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
     "4a7c15e9716ed28dc027beceea1ec40a"),
]


def self_test():
    for secret, key, message, signature in (map(bytes.fromhex, vector) for vector in VECTORS):
        assert public(secret) == key, "a public key"
        assert sign(secret, message) == signature, "a signature"
        assert verify(key, message, signature), "a good signature"
        assert not verify(key, message + b"x", signature), "other words"
        for place in (0, 31, 32, 63):
            wrong = signature[:place] + bytes([signature[place] ^ 1]) + signature[place + 1:]
            assert not verify(key, message, wrong), f"a signature that is wrong at {place}"
        high = int.from_bytes(signature[32:], "little") + ORDER
        assert not verify(key, message, signature[:32] + high.to_bytes(32, "little")), "the same signature spelled in another way"


if __name__ == "__main__":
    self_test()
    print(f"ed25519: {len(VECTORS)} vectors of RFC 8032 hold")
    sys.exit(0)
