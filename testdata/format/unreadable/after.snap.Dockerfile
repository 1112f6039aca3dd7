FROM a
  COYP   a   b  \

   c
copy   x
RUN y
