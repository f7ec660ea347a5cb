"""The UEA archive: 30 data sets of several channels, each with an official training and test set.

https://www.timeseriesclassification.com/. Bagnall et al., arXiv:1811.00075 (2018). The files have UCR's format.
"""

from speechrnn.data.corpora.ucr import prepare

__all__ = ["prepare"]
