FROM scratch
ARG a=$u1
ARG b=$u2
