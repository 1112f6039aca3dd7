FROM scratch
ENV a=$u$u
ENV b=$u c=$u
COPY $u $u /x
