FROM scratch as base \
  more
