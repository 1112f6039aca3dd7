FROM scratch
ENV a=$u1 $u2=b
LABEL c=$u3
USER $u4
VOLUME /a$u5
WORKDIR /$u6
ADD --chown=$u7 --chmod=$u8 x$u9 /$u10
ARG d=$u11
EXPOSE 8$u12
STOPSIGNAL SIG${u13}TERM
