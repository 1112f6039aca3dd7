FROM scratch AS base
ONBUILD CMD run it
FROM base
