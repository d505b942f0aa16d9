"""Ed25519 signatures by RFC 8032, for scripted clients. Slow, and not for secrets."""

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def recover_x(y):
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    return x if x % 2 == 0 else P - x


Y = 4 * pow(5, -1, P) % P
X = recover_x(Y)
BASE = (X, Y, 1, X * Y % P)


def add(a, b):
    e, f = (a[1] - a[0]) * (b[1] - b[0]), (a[1] + a[0]) * (b[1] + b[0])
    g, h = 2 * a[3] * b[3] * D, 2 * a[2] * b[2]
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


# The powers of two of the base point: a product is then a sum of about 126 of them.
POWERS = [BASE]
for _ in range(255):
    POWERS.append(add(POWERS[-1], POWERS[-1]))


def times_base(number):
    point = (0, 1, 1, 0)
    for bit, power in enumerate(POWERS):
        if number >> bit & 1:
            point = add(point, power)
    return point


def encode(point):
    inverse = pow(point[2], -1, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def hashed(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little")


class Identity:
    def __init__(self, secret):
        digest = hashlib.sha512(secret).digest()
        number = int.from_bytes(digest[:32], "little")
        self.number = number & ((1 << 254) - 8) | (1 << 254)
        self.prefix = digest[32:]
        self.key = encode(times_base(self.number))

    def sign(self, text):
        r = hashed(self.prefix, text) % L
        commitment = encode(times_base(r))
        s = (r + hashed(commitment, self.key, text) * self.number) % L
        return commitment + s.to_bytes(32, "little")
