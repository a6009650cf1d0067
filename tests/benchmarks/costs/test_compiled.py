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


def test_loops_are_counted():
    numbers = jax.ShapeDtypeStruct((8, 4), jnp.float32)
    compiled = jax.jit(lambda x: jax.lax.map(jnp.sin, x)).lower(numbers)
    assert counted(compiled.compile()).loops == 1


def test_a_compiled_program_is_counted():
    matrix = jax.ShapeDtypeStruct((512, 512), jnp.float32)
    compiled = jax.jit(lambda x: jnp.sin(x) @ x).lower(matrix).compile()
    found = counted(compiled)
    assert found.kernels >= 1
    assert found.moved >= 2 * 512 * 512 * 4
    assert not found.travels
    assert not found.cycles  # XLA's CPU compiler estimates none.


STARTED = """
  %part = f32[8]{0} parameter(0)
  %start = (f32[8]{0}, f32[32]{0}) all-gather-start(%part), dimensions={0}
  %all = f32[32]{0} all-gather-done(%start)
  %own = f32[8]{0:S(1)} parameter(1)
  %slices = f32[32]{0:S(1)} custom-call(%own), custom_call_target="ConcatBitcast"
  ROOT %product = c64[4]{0} custom-call(%all), custom_call_target="a product"
"""  # noqa: E501


class Compiled:
    """A program of which the text alone is known."""

    def as_text(self):
        return f"HloModule name\n\nENTRY %main {{{STARTED}\n}}\n"

    def memory_analysis(self):
        return None


def test_what_runs_beside_others_is_counted_once():
    found = counted(Compiled())
    gathered, of_product = 8 + 32, 32 + 2 * 4
    assert found.moved == 4 * (gathered + of_product)
    assert found.travels == {"all-gather": 1}


def test_names_of_slices_that_lie_side_by_side_are_no_kernels():
    assert counted(Compiled()).kernels == 1
