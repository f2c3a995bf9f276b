"""What the accuracy page says beside its tables."""

from __future__ import annotations

__all__ = ["CLOSED", "HEAD", "INSTRUCTIONS", "ROWS", "WRONG"]

HEAD = """\
# How accurate it is

*Written by `python -m mcusim.calibration.accuracy_page --write`; do not edit.*

Three things can be wrong: how many instructions run, how many cycles they take, and what power
flows meanwhile. Every error below is that of a prediction whose fit had **not** seen the row,
unless its column says *fitted*. An error is predicted over published, less one.
"""

INSTRUCTIONS = """\
## Instructions

Each file in `kernels/` carries the error of its fit on counted runs that the fit had not seen
(`held_out_median`, `held_out_p95`); [a page](accuracy-instructions.md) lists them. An estimate
widens its interval by it. The page is about the reference kernels. For CMSIS-NN, `python -m
mcusim.calibration.library_profiles` prints the errors on calls kept out; whole networks come
out so, predicted over counted (a test holds them to 1 % and, for 2020, 3 %; the 2020 networks
were in the fit, those of 2026 were not):

| network | 2026 -O3 | 2026 -Os | 2026 TFLM Makefile | 2020 -Ofast | 2020 -Os |
|---|--:|--:|--:|--:|--:|
| LeNet-5 | +0.03 % | +0.01 % | +0.05 % | +0.36 % | +0.43 % |
| ResNet-20 | 0.00 % | 0.00 % | 0.00 % | -0.01 % | -0.02 % |
| ad | -0.04 % | +0.01 % | -0.07 % | -0.16 % | -0.18 % |
| kws | +0.32 % | +0.03 % | +0.04 % | -0.04 % | -0.03 % |
| ic | +0.01 % | 0.00 % | +0.01 % | +0.01 % | +0.01 % |

RAM and flash: the tensor arena is exact, to the byte, on every counted program (its interval
has no width); flash was within 0.72 % on programs kept out of its fit.
"""

ROWS = {
    "fits": """\
All boards are fitted together: a factor on the time of each core, of each board around its
core's, and on its waits for instructions and for constants (`mcusim/calibration/joint_fit.py`).
Runs of closed software take part as ratios between boards. A board keeps its core's factors
where its own runs do not make predictions of runs left out better. *Before*: such runs
predicted from other networks on other boards, or for closed runtimes from other boards;
*after*: with the board's own runs of other networks, or of other runtimes, as well.
""",
    "known": """\
*Network unseen*: no run of this network, on any board, was in the fit. *Board unseen*: no run
of this board was, as if only its datasheet were known. *Fitted*: the error of the fit that
ships, which has seen the row.
""",
    "heim": """\
Predicted with the network unseen on every board. Rows that another table prints again are
predicted once. The reference kernels are those that the authors publish, compiled by GCC 9,
which mbed-os 5.15 asks for: of the int8 ResNet-20 at -Ofast it makes 653 million instructions
for the Cortex-M4 and 388 for the M7, GCC 12.2.1 1,266 and 392, and with the 1,266 the L496
would take less than one cycle for each. Without the FPU it makes 3.70 thousand million of the
float one at -Os, GCC 12.2.1 4.22.
""",
    "energy": """\
Board power while computing times time. *Network unseen*: this firmware's power was measured
with other networks. *Firmware unseen*: only the board's power with other firmware was known; on
the L4R5, Zephyr's draws a quarter more than Mbed's. *Board unseen*: datasheet currents.
""",
    "orderings": """\
Pairs of boards that ran the same network with the same software and differ by more than 10 %,
the network unseen on both (closed runtimes included). Closed engines order the CY8CPROTO and the
L4R5, two Cortex-M4 at 100 and 120 MHz, differently: ds-cnn is faster on the CY8CPROTO with
Plumerai of 2022 and HALE, and slower with Plumerai of 2023. An engine's other networks on the two
boards tell which it will be.
""",
    "layers": """\
Published elsewhere, with software and boards of their own: no fit has seen any of these. Where a
board has no file here, one of its core stands for it; where its software was not counted, the
closest does (`calibration/measured_layers.csv` says so row by row). A layer's interval is its
network's, widened by what layers differ by beside it. Layers of a few thousand cycles are left
out, as the timer around them takes as long.

They have been looked at, however. One cost was chosen by them: `float_mac` of the Cortex-M7, among
1, 2 and 3 cycles, by the 28 rows of float32 on the F746 and H743, whose medians are therefore no
test. Two mechanisms came to light by them and took their numbers from elsewhere: caches stay warm
from one inference to the next, and the Pico's flash controller fetches one word at a time (its
boot2).

- **NUCLEO-L4R5ZI** with TFLM and CMSIS-NN of January 2024 (EdgeMark): convolutions and dense
  layers come out as they do in known runs; the two networks of depthwise layers at -O3 come out
  a fifth too fast. Their loop over four channels is some 280 instructions of code, four
  requantizations among them of which one path each runs: as long as the chip's cache of 1 KiB,
  and priced as if it fitted. MLPerf's microTVM shows the same on this board, to half the extent;
  at -Os, and on chips with larger caches, nothing of the kind is seen.
- **STM32H743** (TinyEngine): its README does not tell the clock; an answer of its authors does
  (issue 23: 480 MHz, both caches on). Its times of reference kernels are not here: they are 2.3
  and 2.7 times what is predicted, as with assertions on.
- **STM32F746** (Lai et al.): the first layer, of three channels, is a quarter too fast, the others
  1 and 9 % too slow; compiler and flags of 2018 are not stated.
- **Raspberry Pi Pico**: depthwise layers are predicted a fifth to a quarter too slow. Of a
  pointwise layer a product is right within 2 %, what each output takes is a third too slow:
  GCC 12.2.1 was counted here, with the 64-bit product of its own library, where the Pico's SDK
  has one of its own. Weights from flash come out at 10 cycles a byte where 14 are measured:
  what the flash controller takes between two words is not known.
- **Dense networks of EloquentTinyML**: TFLM of TensorFlow 2.1.0, by compilers of 2018 to 2020. At
  -O3 on the H743 they come out within 6 %; at -Os on the F746 those of eleven layers 13 to 16 % too
  fast; on the Pico, whose float is soft, all 7 to 27 % too fast. On the Arduino Nano 33 the twelve
  rows add up, within 4 %, of 1,260 cycles for each output of the softmax, where 180 are predicted,
  and 13.6 a product, where 17.2 are. Softmax of 2.1.0 computes two exponentials of double for each
  output, in software on this chip. A product would be 14.6 with the instruction cache on, which no
  source of the board's turns on.
- **EFR32MG24**: 5 to 17 % too fast: the chip is priced as an STM32U575, and its own flash and cache
  are described by no board here. TFLM with CMSIS-NN of 2022; flags are not stated, and all layers
  agree at -O3 as they do not at -Os.
- **Apollo510**: the depthwise layer is 13 % too fast, the two others 6 and 8 % too slow: the
  Cortex-M55's cycles are means of a few beats each, which no measured board has corrected.
""",
    "intervals": """\
90 % intervals are conformal: from the sizes of residuals on runs held out, by how far a run is
from measured ones. *network*: the board was measured with this software on other networks of
this kind (the family of operators that takes most of the time); *kind*: on networks of other
kinds only; *software*: with other software only; *board*: only other boards of its core were
measured, closed software included; *core*: only other cores were. Runs of one firmware or network
have much in common: where few of these were measured, a width is what a new one takes by Student's
t (`mcusim/calibration/held_out.py`), if that is more. On a measured board a width is never less
than at a nearer distance. Below, each run's interval comes from runs of other
groups. A core that no measured board has (M0+, M3, M55, M85) carries twice the width of *core*:
those measured all have DSP instructions. Software of a library
without a measured run, such as today's reference kernels, carries that width as well.
""",
}

WRONG = """\
Rows that stay wrong by more than 8 %, and boards that other boards do not tell, and why:

- **conv-96-cifar10 and conv-128-mnist with q7 kernels on the nRF52840** are no longer among the
  rows: beside six runs that are within 1 % of each other they would come out 13 % too slow and 8 %
  too fast. Neither compiles as published: `arm_relu_q7` takes its size as a `uint16_t`, 86,400 and
  86,528 are more, and `-Wall -Werror` of the published Makefile refuses that (GCC 12.2.1,
  `-Werror=overflow`). What was changed for these two, and only for them, is not known. Where the
  linker puts the loop of `memcpy`, 12 bytes in a flash without cache, would be enough: replayed at
  every place in a line, the firmware takes 0.91 to 1.15 times the cycles.
- **CMSIS-NN on the L4R5**, predicted from other boards: resnet-8 at -Os, and ad and ds-cnn under
  microTVM at -O3, come out 9 to 11 % too fast, the four others within 6 %. Counted binaries at -O3,
  replayed instruction by instruction through the 1-KiB cache of this chip, wait up to 0.15 cycles
  an instruction longer than is predicted, as code that is not executed lies between. What
  microTVM's generated code executes around the kernels is not counted, and weighs most in short
  networks; its compiler is not stated, and older ones than that which was counted make about 5 %
  more instructions of these kernels. resnet-8 is 10 % dearer at -Os than at -O3 beside what is
  counted, and has to be wrong on one side: so it is 8 % too slow under microTVM with the board's
  own runs of other networks.
- **int8 reference kernels on the F469** take 1.21 and 1.22 times the cycles of the L496, and are
  predicted to take 1.06: they come out 9 to 15 % too fast, and those of the L496, which share the
  factor of their software, up to 10 % too slow. It is one binary, and the place of one loop of 40
  bytes decides: replayed, it takes 1.00 to 1.41 times the cycles of the L496, and 1.13 to 1.22
  where a build of the published sources has it; the mean is predicted. See [boards](boards.md).
- **lenet-5 in float32 without FPU** is given a digit of MNIST, whose pixels are zero but for one in
  eight. Soft float multiplies zeros faster: the first convolution executes 5.6 million
  instructions where 7.4 are predicted, as inputs are taken to hold no zeros; that is 6 % of the
  network.
- **resnet-20 in int8 on the F767** comes out 8 to 9 % too slow with either library, lenet-5 5 to
  7 % too fast when its network is unseen. Issue of two instructions is a mean over all code here,
  and inner loops that a network spends more of its time in pair better than what is around them.
- **CMSIS-NN of Heim et al.** is counted as GCC 9 compiles it, which makes 5.9 and 4.6 % more
  instructions of resnet-20 and lenet-5 for the Cortex-M4 at -Ofast than GCC 12.2.1 does: so
  counted, its four runs are measured at 0.98 to 1.01 times what the manuals alone say, and were at
  1.03 to 1.07.
- **The reference submission of MLPerf Tiny v0.5** is counted as GCC 12.2.1 compiles it at -Os; its
  system description states GCC 6, which was not counted. GCC 9 makes 3.4 % more instructions of
  resnet-8, and 4.4 and 3.4 % fewer of ds-cnn and mobilenet-v1-0.25.

What was wrong by 8 % and more and is not. The nRF52840's two firmwares were 12 % too fast and 8 %
too slow: one runs with the instruction cache off, and a taken branch of a Cortex-M4 costs 1 to 2
cycles, not 3. Reference kernels on the F767 came out half as slow again, with a Cortex-M7 that had
been chosen by runs of CMSIS-NN alone: its loads issue beside other instructions, its loops are
predicted, its returns are not. Six runs of one board have decided that; float32 networks on other
boards with this core (below, layers) have decided that sums wait for each other.
"""

CLOSED = """\
X-CUBE-AI, Plumerai, HALE and ONNC are known by their times alone. Their time over that of CMSIS-NN
(`gcc-O3`, no interpreter) is fitted to all networks and boards at once, as a product of factors:
of the version, of each family of operators, of the network beside its families, and of the board,
by family, with any engine and with this one (`mcusim/calibration/closed_fit.py`,
`calibration/closed_runtimes.json`). How far factors of each sort may lie from one is what makes
all runs together likeliest. Found anew without each network, they leave one pair of boards the
other way, by 2 %: resnet-8 with HALE of 2024 on the L4R5 and the CY8CPROTO. *Network unseen*
leaves one of four networks out, and with it often the only one that shows a family: people who
choose between these runtimes get an order of merit, not a time. *Board unseen* predicts a measured
network on another board. In both, the scales of boards come from runs of CMSIS-NN without that
network or board. HALE on the Cortex-M0+ has a factor of its own, from that board alone.
"""
