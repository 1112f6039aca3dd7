FROM scratch
COPY a \

   b \

   /c/
COPY x \
 /y
