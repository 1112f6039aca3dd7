FROM scratch
# check=skip=NoEmptyContinuation
COPY a \

   /b
