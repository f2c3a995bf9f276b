"""The class of a Thumb instruction in the vocabulary of :mod:`mcusim.instruction_mix`."""

from __future__ import annotations

from typing import Any

__all__ = ["branches", "class_of"]


def _by_class(**names: str) -> dict[str, str]:
    return {name: kind for kind, listed in names.items() for name in listed.split()}


#: Class of each mnemonic, without condition and flags; what is not here is ``alu``, or is told
#: by its first letters in :data:`_PREFIXES`.
_CLASS = _by_class(
    if_then="it",
    multiply="mul mla mls",
    multiply_long="smull umull smlal umlal umaal smmul smmulr smmla smmlar smmls smmlsr",
    multiply_half="smulbb smulbt smultb smultt smlabb smlabt smlatb smlatt smulwb smulwt smlawb "
    "smlawt smlalbb smlalbt smlaltb smlaltt",
    simd_mac="smlad smladx smuad smuadx smlsd smlsdx smusd smusdx smlald smlaldx smlsld smlsldx",
    simd_other="sxtb16 sxtab16 uxtb16 uxtab16 pkhbt pkhtb ssat usat ssat16 usat16 qadd qsub qdadd "
    "qdsub sxtab uxtab sxtah uxtah sel usad8 usada8",
    divide="sdiv udiv",
    load_byte="ldrb ldrsb ldrbt ldrsbt ldrexb ldab ldaexb",
    load_half="ldrh ldrsh ldrht ldrsht ldrexh ldah ldaexh",
    load_word="ldr ldrt ldrex lda ldaex",
    load_double="ldrd ldrexd",
    load_multiple="ldm ldmib ldmda ldmdb pop",
    store_byte="strb strbt strexb stlb stlexb",
    store_half="strh strht strexh stlh stlexh",
    store_word="str strt strex stl stlex",
    store_double="strd strexd",
    store_multiple="stm stmib stmda stmdb push",
    branch_conditional="cbz cbnz",
    branch="b",
    call="bl blx blxns",
    branch_indirect="bx bxns bxj",
    branch_table="tbb tbh",
    float_alu="vadd vsub vmul vnmul vneg vabs vcmp vcmpe vmaxnm vminnm vseleq vselge vselgt vselvs",
    float_mac="vmla vmls vnmla vnmls vfma vfms vfnma vfnms",
    float_divide="vdiv vsqrt",
    float_convert="vcvt vcvtr vcvtb vcvtt vcvta vcvtn vcvtp vcvtm vrinta vrintn vrintp vrintm "
    "vrintr vrintx vrintz",
    float_move="vmov vmrs vmsr fmstat fconsts fconstd vmovx vins",
    float_load="vldr",
    float_store="vstr",
    float_load_multiple="vldmia vldmdb vpop fldmx",
    float_store_multiple="vstmia vstmdb vpush fstmx vlstm",
    system="mrs msr cps cpsie cpsid dmb dsb isb svc bkpt wfi wfe sev yield udf clrex pld pli dbg "
    "sg tt ttt tta ttat csdb ssbb pssbb esb mcr mrc mcr2 mrc2 mcrr mrrc cdp cdp2 ldc stc hint",
    nop="nop",
)

#: Parallel additions and subtractions: a prefix, an operation and a width.
_PARALLEL = frozenset(
    prefix + operation
    for prefix in ("s", "u", "q", "uq", "sh", "uh")
    for operation in ("add8", "add16", "sub8", "sub16", "asx", "sax")
)


def class_of(name: str, found: Any) -> str:
    """The class of an instruction.

    Args:
        name: its mnemonic, without condition and flags.
        found: the disassembled instruction.
    """
    if name == "b" and not _is_always(found):
        return "branch_conditional"
    if _writes_pc(found) and name in ("ldr", "mov", "add", "movs", "sub"):
        return "branch_indirect"
    kind = _CLASS.get(name)
    if kind:
        return kind
    if name in _PARALLEL:
        return "simd_other"
    return "float_alu" if name.startswith("v") else "alu"


def _is_always(found: Any) -> bool:
    from capstone.arm import ARM_CC_AL, ARM_CC_INVALID

    return found.cc in (ARM_CC_AL, ARM_CC_INVALID)


def _writes_pc(found: Any) -> bool:
    from capstone.arm import ARM_REG_PC

    operands = found.operands
    return bool(operands) and operands[0].type == 1 and operands[0].reg == ARM_REG_PC


def branches(kind: str, found: Any) -> bool:
    """Whether an instruction of a class may go elsewhere than on."""
    if kind in ("branch", "branch_conditional", "call", "branch_indirect", "branch_table"):
        return True
    if kind == "load_multiple":
        from capstone.arm import ARM_REG_PC

        return any(operand.reg == ARM_REG_PC for operand in found.operands)
    return False
