"""What numba lacks to keep vectors near the processor.

Memory that may become registers, sums of them, wide registers, and lines fetched into the cache ahead of their use.
"""

# mypy: disable-error-code="no-untyped-def"

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

POINTER = types.CPointer(types.float32)


def stack(count: int) -> Any:
    """A function that gives memory for ``count`` float32, which the compiler may replace by registers."""

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

    As a loop it would be unrolled, and end as ``count`` single additions.
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
    """A function that sums ``count`` float32; as a loop it would be unrolled into single additions."""

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
    """Registers of 512 bits where there are such: by default LLVM prefers 256, lest short loops lower the clock."""

    def generate(context, builder, signature, arguments):
        # past llvmlite's list of known attributes, which holds only those without a value
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def prefetch(typing, array, place):
    """Ask for the cache line of ``place`` of a flat array; a hint, so ``place`` may lie beyond the end."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(array)(context, builder, arguments[0]).data
        line = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        fetch = builder.module.declare_intrinsic(
            "llvm.prefetch", [line.type], ir.FunctionType(ir.VoidType(), [line.type, number, number, number])
        )
        builder.call(fetch, [line, number(0), number(3), number(1)])  # to read, into the first level, data
        return context.get_dummy_value()

    return types.void(array, types.uintp), generate
