"""What is read in the text of a compiled program."""

import jax
import jax.numpy as jnp

from benchmarks.costs.compiled import Collective, collectives, counted, moved

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


ENTRY = """
  %g = f32[2048,4]{1,0:T(8,128)} parameter(0), sharding={replicated}
  %p = bf16[2048,4]{1,0:T(8,128)(2,1)} parameter(1)
  %one = f32[]{:T(128)} constant(1)
  %start = ((f32[2048,4]{1,0}), f32[512,4]{1,0:T(8,128)S(1)}, s32[]{:S(2)}) slice-start(%g), slice={[0:512], [0:4]}
  %done = f32[512,4]{1,0:T(8,128)S(1)} slice-done(%start)
  %sum = f32[]{:T(128)S(6)} fusion(%done), kind=kLoop
  %both = (f32[2048,4]{1,0}, bf16[2048,4]{1,0}) fusion(%g, %p, %sum), kind=kLoop
  %first = f32[2048,4]{1,0} get-tuple-element(%both), index=0
  ROOT %result = (f32[2048,4]{1,0}) tuple(%first)
"""  # noqa: E501


def test_bytes_of_main_memory_are_counted_at_each_end():
    # The slice into the chip's own memory; then both arrays, in and out.
    assert moved(ENTRY) == 512 * 4 * 4 + 2 * 2048 * 4 * (4 + 2)


def test_a_compiled_program_is_counted():
    matrix = jax.ShapeDtypeStruct((512, 512), jnp.float32)
    compiled = jax.jit(lambda x: jnp.sin(x) @ x).lower(matrix).compile()
    found = counted(compiled)
    assert found.kernels >= 1
    assert found.moved >= 2 * 512 * 512 * 4
    assert not found.travels
    assert not found.cycles  # XLA's CPU compiler estimates none.
