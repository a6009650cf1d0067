"""Makers return one object for equal arguments."""

from benchmarks.contenders.makers import by_content


def test_equal_arguments_make_one_object():
    make = by_content(lambda *args, **kwargs: object())
    one = make("agr", 0.1, sizes=[1, 2], first=None, more={"a": 1})
    assert make("agr", 0.1, more={"a": 1}, first=None, sizes=[1, 2]) is one
    others = [
        make("agr", 0.2, sizes=[1, 2], first=None, more={"a": 1}),
        make("agr", 0.1, sizes=[1, 3], first=None, more={"a": 1}),
        make("agr", 0.1, sizes=(1, 2), first=None, more={"a": 1}),
        make("agr", 0.1, sizes=[1, 2], first=None, more={"b": 1}),
        make("agr", 0.1, sizes=[1, 2], more={"a": 1}),
    ]
    assert len({id(made) for made in [one, *others]}) == 6
