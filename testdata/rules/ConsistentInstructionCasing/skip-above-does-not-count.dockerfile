FROM scratch
# check=skip=ConsistentInstructionCasing
copy a /b
COPY a /c
