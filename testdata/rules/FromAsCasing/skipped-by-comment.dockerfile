# check=skip=FromAsCasing

FROM scratch as a
# why not
# check=skip=FromAsCasing // the team likes it
FROM scratch as b
