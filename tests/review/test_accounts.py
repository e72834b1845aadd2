"""Passwords of accounts, without the web."""

from argon2 import PasswordHasher

from dignified_jax.review import accounts


class Counting(PasswordHasher):
    """A cheap hasher that counts what it is asked."""

    def __init__(self):
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.hashed = self.verified = 0

    def hash(self, password, **kwargs):
        self.hashed += 1
        return super().hash(password, **kwargs)

    def verify(self, stored, password):
        self.verified += 1
        return super().verify(stored, password)


def test_a_name_without_an_account_costs_as_much_as_a_wrong_password():
    hasher = Counting()
    stored = hasher.hash("a long password")
    assert accounts.matches(hasher, stored, "a long password")
    assert not accounts.matches(hasher, None, "a long password")  # makes what it compares with
    before = hasher.hashed, hasher.verified
    assert not accounts.matches(hasher, stored, "another password")
    assert not accounts.matches(hasher, None, "another password")
    assert (hasher.hashed - before[0], hasher.verified - before[1]) == (0, 2)
