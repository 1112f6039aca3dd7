FROM a
COPY --from=b \
    --chown=1:1 \
    x \
    # where x goes
    y \
    /z/
ENV A=1 \
    B=2 \
    C="a \
      b" D=4 \
    E=5
ARG X \
    # the second
    Y=1
FROM \
    b \
    AS \
    c
