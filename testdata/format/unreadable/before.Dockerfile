FROM   a
  COYP   a   b  \

   c
copy   x
run   y
