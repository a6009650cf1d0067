"""The list of mutants fits the source; mutants.py says what it is for."""

import pytest

from tests.mutants import MUTANTS, ROOT, is_there, module_of


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_source(mutant):
    assert is_there(mutant)
    for name in mutant.tests.split():
        assert (ROOT / "tests" / module_of(name)).exists()


def test_each_mutant_has_a_name_of_its_own():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
