FROM scratch
WROKDIR /x
