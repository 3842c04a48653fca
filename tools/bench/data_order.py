"""qtune's data order in Python (include/qtune/base/rng.h, src/batch/epoch_order.cpp), so that a rival trains on the same
samples in the same batches."""

MASK = (1 << 64) - 1
ORDER_STREAM = 0x6F72646572


def mix64(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


class CounterRng:
    def __init__(self, seed, stream):
        self.key = mix64(mix64(seed) ^ ((stream * 0xD1342543DE82EF95 + 1) & MASK))
        self.counter = 0

    def next(self):
        value = mix64(self.key ^ mix64(self.counter))
        self.counter += 1
        return value

    def next_below(self, bound):
        while True:
            product = self.next() * bound
            if product & MASK >= (1 << 64) % bound:
                return product >> 64


def epoch_order(seed, epoch, n):
    order = list(range(n))
    rng = CounterRng(seed, ORDER_STREAM + epoch)
    for i in range(n - 1, 0, -1):
        j = rng.next_below(i + 1)
        order[i], order[j] = order[j], order[i]
    return order
