"""Intrinsics for SIMD code that numba lacks.

Stack memory that the compiler may place in registers, vector sums, wide registers, and prefetching.
"""

# mypy: disable-error-code="no-untyped-def"

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

POINTER = types.CPointer(types.float32)


def stack(count: int) -> Any:
    """A function that allocates stack memory for ``count`` float32, which the compiler may replace by registers."""

    @intrinsic
    def allocate(typing):
        def generate(context, builder, signature, arguments):
            floats = ir.FloatType()
            with builder.goto_entry_block():
                array = builder.alloca(ir.ArrayType(floats, count))
            array.align = 64
            return builder.bitcast(array, floats.as_pointer())

        return POINTER(), generate

    return allocate


def adder(count: int) -> Any:
    """A function ``add(array, place, sums)`` that adds ``count`` float32 to those at ``place`` of a flat array.

    A loop would be unrolled into ``count`` scalar additions.
    """

    @intrinsic
    def add(typing, array, place, sums):
        def generate(context, builder, signature, arguments):
            target, place, sums = arguments
            vector = ir.VectorType(ir.FloatType(), count).as_pointer()
            data = context.make_array(array)(context, builder, target).data
            here = builder.bitcast(builder.gep(data, [place]), vector)
            total = builder.fadd(builder.load(here, align=4), builder.load(builder.bitcast(sums, vector), align=4))
            builder.store(total, here, align=4)
            return context.get_dummy_value()

        return types.void(array, types.uintp, POINTER), generate

    return add


def summer(count: int) -> Any:
    """A function that sums ``count`` float32; a loop would be unrolled into scalar additions."""

    @intrinsic
    def add_up(typing, floats):
        def generate(context, builder, signature, arguments):
            vector = ir.VectorType(ir.FloatType(), count)
            values = builder.load(builder.bitcast(arguments[0], vector.as_pointer()), align=4)
            kind = ir.FunctionType(ir.FloatType(), [ir.FloatType(), vector])
            reduce = get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{count}f32")
            return builder.call(reduce, [ir.Constant(ir.FloatType(), 0), values], fastmath=["reassoc"])

        return types.float32(POINTER), generate

    return add_up


@intrinsic
def wide(typing):
    """Use 512-bit registers if available; by default LLVM prefers 256 bits, because 512 may lower the clock rate."""

    def generate(context, builder, signature, arguments):
        # bypasses llvmlite's list of known attributes, which lacks those with a value
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def prefetch(typing, array, place):
    """Prefetch the cache line at ``place`` of a flat array; a hint, so ``place`` may be beyond the end."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(array)(context, builder, arguments[0]).data
        line = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        fetch = builder.module.declare_intrinsic(
            "llvm.prefetch", [line.type], ir.FunctionType(ir.VoidType(), [line.type, number, number, number])
        )
        builder.call(fetch, [line, number(0), number(3), number(1)])  # read, locality 3 (L1), data cache
        return context.get_dummy_value()

    return types.void(array, types.uintp), generate
