"""Runs inside: takes 100 MB after 100 MB, up to 2 GB, to see whether a memory limit is enforced."""

held = [bytearray(b"x") * 100_000_000 for _ in range(20)]
print(len(held))
