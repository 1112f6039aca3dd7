ARG x=1
# check=skip=FromAsCasing
FROM scratch as Ba!se
