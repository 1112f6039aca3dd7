# check = error = 1 ; skip = X
FROM scratch as base
