FROM a
RUN apt-get update   && \
  apt-get install -y \
    # a tool
    curl   \
      git &&\
  rm -rf /var/lib/apt/lists/*
RUN --mount=type=cache,target=/c \
  --network=none \
  make  all && \
  make install
RUN --mount=type=cache,target=/c \
    make
RUN a && \
# in the first column
b
CMD \
    exec   app
ONBUILD RUN  a \
  b   
