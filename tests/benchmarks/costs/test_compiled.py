"""What is read in the text of a compiled program."""

from benchmarks.costs.compiled import Collective, collectives

PROGRAM = """
  %all-reduce.1 = f32[] all-reduce(%sum), channel_id=1, to_apply=%add
  %all-reduce = (f32[8]{0}, f32[]) all-reduce(%a, %b), channel_id=2
  ROOT %all-gather.3 = f32[8,16]{1,0} all-gather(%part), dimensions={0}
  %fusion = f32[8]{0} fusion(%all-reduce), kind=kLoop
"""


def test_the_collectives_of_a_program():
    assert collectives(PROGRAM) == [
        Collective("all-reduce", (1,)),
        Collective("all-reduce", (8, 1)),
        Collective("all-gather", (128,)),
    ]
