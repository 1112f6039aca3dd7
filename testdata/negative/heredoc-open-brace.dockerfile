FROM scratch
COPY <<A /
${Z
A
COPY <<B /
$a ${Z:-x
y
B
COPY <<C /
${Z:
C
