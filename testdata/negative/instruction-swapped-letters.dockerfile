FROM scratch
RNU x
AGR x
CDM x
